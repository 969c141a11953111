"""The laboratory of the paper: networks, data, what trains, measures, records and judges them."""
