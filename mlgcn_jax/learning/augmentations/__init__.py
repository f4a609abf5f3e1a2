"""Random changes to a batch on the device, inside the step; one file a kind."""
