"""What a run leaves for people and programs: JSON, Markdown, HTML, plots, pictures."""
