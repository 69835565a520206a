"""rtsr as an audio filter of frameworks for voice agents; each module needs its framework, which an extra brings."""
