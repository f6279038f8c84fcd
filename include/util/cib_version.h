/* What this software calls itself, to administrators and to builds (CI_SERVER_NAME). */
#ifndef CIB_VERSION_H
#define CIB_VERSION_H

#define CIB_NAME "mod_ci_builds"
#define CIB_VERSION "1.0.0"

/* Which source it was made from (CI_SERVER_REVISION); a build from a checkout may say so. */
#ifndef CIB_REVISION
#define CIB_REVISION "release"
#endif

#endif
