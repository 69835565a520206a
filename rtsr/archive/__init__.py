"""`rtsr enhance --ray`: folders of recordings on disks and in object stores, on the processors of a Ray cluster."""
