"""How a change map compares with what is true."""
