"""Where and how things are computed: device, precision, several at a time."""
