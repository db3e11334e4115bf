"""What a study is: its TOML file, its space, what it starts from, its trials as they are stored."""
