"""The course: sessions from one source, exercises that check themselves, and handouts for a class."""
