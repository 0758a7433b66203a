"""What the commands share: how they read their arguments, what ``--help`` prints, and how errors reach the user."""
