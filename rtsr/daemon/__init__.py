"""`rtsr live`: live paths from device to device in processes of their own, and the service that runs them."""
