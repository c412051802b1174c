"""uWSGI's signals: who gets them, what raises them by itself, and what one process does with them."""
