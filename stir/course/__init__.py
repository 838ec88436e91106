"""The course: sessions from one source, exercises that check themselves, and what a class is handed out."""
