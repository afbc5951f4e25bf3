"""Other libraries' graphs on taskloom's engines, and other schedulers' runs on its bus."""
