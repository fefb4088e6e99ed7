"""Groups whose members share partitions by leases, on whatever store keeps these: written once for all of them."""
