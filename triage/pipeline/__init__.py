"""The verbs: poll, process, deliver, reconcile, sweep; answer, relabel, accept. They return ids and never enqueue.

    intake   far side -> store      poll, rescan, reread, follow, backfill, take_in
    judge    store -> actions       process, relabel, file, accept
    deliver  actions -> far side    deliver, reconcile
    people   a person's answer      answer
    learning a model's life         train, examine, promote, rollback, shadow
    upkeep   now and then           read_tickets, audit
    sweep    all that is due        due, lanes, once, Sweeper

Every write is one transaction of the store, no call goes out inside one, and every outward call has a key.
"""
