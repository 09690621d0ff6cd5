"""The commands people type. This room knows all others; each verb is a file named like what is typed."""
