"""Where a study lives: its database, who may write to it, its password."""
