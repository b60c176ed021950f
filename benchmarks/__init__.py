"""What the program's speed and memory are held against."""
