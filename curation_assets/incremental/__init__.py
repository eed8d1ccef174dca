"""The row-level incremental refresh that every partitioned asset shares.

`stage` declares what a table is made from, `refresh` brings a shard of it up to date:

1. `planning` opens the tables, reads the declared columns, fingerprints each input row (unit) and tells which rows
   stand, which are in staging and which are to be computed.
2. `computing` has those computed in batches, each written to `staging`, so that a killed run loses at most one batch.
3. `committing` changes the table once, by one overwrite of the shard through the handle opened in step 1, and reports
   in = computed + reused + failed + blocked, what was removed, and a data version made of the rows. On a conflict all
   begins again with the computed rows in hand; staging is deleted after the commit.
"""
