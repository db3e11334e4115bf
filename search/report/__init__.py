"""What a study says: terminal tables, report.json, report.html."""
