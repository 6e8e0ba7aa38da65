"""The web application, asked in this process."""
