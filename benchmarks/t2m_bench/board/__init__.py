"""The program that measures on boards with nothing installed: C without a libc, around the C core (board.c)."""
