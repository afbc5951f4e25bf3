"""What brings other libraries to taskloom: their graphs on its engines, their runs on its bus."""
