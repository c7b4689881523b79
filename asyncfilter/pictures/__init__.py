"""Pictures: made fit for the service, and looked at before they are sent."""
