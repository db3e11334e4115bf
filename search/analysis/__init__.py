"""What a study found: who is best, how sure that is, what it cost. Numbers in, numbers out; nothing is fitted or drawn here."""
