"""Linux: the only package with fork, exec, kill, wait and epoll. One thread, and one module per dangerous operation."""
