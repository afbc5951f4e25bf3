"""A cluster on one machine: workers under a coordinator that lives beyond a call, and clients with futures."""
