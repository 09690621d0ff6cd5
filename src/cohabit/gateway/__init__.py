"""The gateway: supervisord's XML-RPC interface and status page, for a running cohabit (docs/reference/supervisord.md).

A program of its own, supervised as a service. It speaks HTTP to supervisorctl and browsers, and the control protocol to
process 1. Nothing of it is ever in process 1.
"""
