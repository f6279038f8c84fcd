/* What this software calls itself, to administrators and to builds (CI_SERVER_NAME). */
#ifndef CIB_VERSION_H
#define CIB_VERSION_H

#define CIB_NAME "mod_ci_builds"
#define CIB_VERSION "1.0.0"

#endif
