/* The instance's writer lock: flock on the file `lock`, one thread of a process at a time.
 * A process opens it once; a descriptor inherited over a fork is never used (flock belongs to the
 * open file, so the child would share the parent's lock). */
#ifndef CIB_LOCK_H
#define CIB_LOCK_H

#include "files/cib_storage.h"

typedef struct cib_lock_t cib_lock_t;

/* Open the lock of `storage`, to be closed with `pool`. Call it in the process that will use it. */
apr_status_t cib_lock_open(cib_lock_t **lock, const cib_storage_t *storage, apr_pool_t *pool);

/* Wait for it. APR_EINVAL: this process is not the one that opened it. */
apr_status_t cib_lock_acquire(cib_lock_t *lock);
void cib_lock_release(cib_lock_t *lock);

/* A time that holders leave for those who wait: when one last found that it had come in vain. 0:
 * never. Both to be called while holding it. */
apr_time_t cib_lock_noted(const cib_lock_t *lock);
void cib_lock_note(const cib_lock_t *lock, apr_time_t now);

#endif
