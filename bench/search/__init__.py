"""Times the same tree search on marcot and on other ways of doing it: `make bench-search`."""
