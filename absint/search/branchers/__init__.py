"""What splits a problem into smaller ones: phases of neurons, boxes of inputs."""
