-- Tells how many documents an index's root has taken. KEYS[1] root.
return docs
