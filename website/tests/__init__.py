"""The built site in a browser; `.ci/site test` runs these."""
