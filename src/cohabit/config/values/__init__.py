"""Values as people write them: words, variables, addresses, users, the names of the kernel."""
