"""Linux: the only room with fork, exec, kill, wait and epoll. One thread, one door per danger."""
