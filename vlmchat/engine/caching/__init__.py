"""What the engine keeps of its work: pictures it has looked at, conversations it has read."""
