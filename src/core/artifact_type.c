/* The types of artifacts: what GitLab 14's runners may be asked for, and what later ones added. */
#include <string.h>

#include <apr_strings.h>

#include "core/cib_artifact.h"

static const cib_artifact_type_t types[] = {
    {"archive", "zip", NULL},
    {"metadata", "gzip", NULL},
    {"trace", "raw", NULL},
    {"metrics_referee", "gzip", NULL},
    {"network_referee", "gzip", NULL},
    {"junit", "gzip", "junit.xml"},
    {"metrics", "gzip", "metrics.txt"},
    {"dotenv", "gzip", ".env"},
    {"cobertura", "gzip", "cobertura-coverage.xml"},
    {"jacoco", "gzip", "jacoco-coverage.xml"},
    {"cluster_applications", "gzip", "gl-cluster-applications.json"},
    {"cyclonedx", "gzip", "gl-sbom.cdx.json"},
    {"annotations", "gzip", "gl-annotations.json"},
    {"repository_xray", "gzip", "gl-repository-xray.json"},
    {"lsif", "zip", "lsif.json"},
    {"sast", "raw", "gl-sast-report.json"},
    {"secret_detection", "raw", "gl-secret-detection-report.json"},
    {"dependency_scanning", "raw", "gl-dependency-scanning-report.json"},
    {"container_scanning", "raw", "gl-container-scanning-report.json"},
    {"cluster_image_scanning", "raw", "gl-cluster-image-scanning-report.json"},
    {"dast", "raw", "gl-dast-report.json"},
    {"license_scanning", "raw", "gl-license-scanning-report.json"},
    {"coverage_fuzzing", "raw", "gl-coverage-fuzzing.json"},
    {"api_fuzzing", "raw", "gl-api-fuzzing-report.json"},
    {"accessibility", "raw", "gl-accessibility.json"},
    {"codequality", "raw", "gl-code-quality-report.json"},
    {"performance", "raw", "performance.json"},
    {"browser_performance", "raw", "browser-performance.json"},
    {"load_performance", "raw", "load-performance.json"},
    {"terraform", "raw", "tfplan.json"},
    {"requirements", "raw", "requirements.json"},
    {"requirements_v2", "raw", "requirements_v2.json"},
};

const cib_artifact_type_t *cib_artifact_type(const char *name)
{
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    }
    return NULL;
}

const char *cib_artifact_reports(apr_pool_t *pool)
{
    apr_array_header_t *names = apr_array_make(pool, 32, sizeof(const char *));

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].filename)
            APR_ARRAY_PUSH(names, const char *) = apr_pstrcat(pool, " ", types[i].name, NULL);
    }
    return apr_array_pstrcat(pool, names, ',') + 1;
}

int cib_artifact_is_format(const char *format)
{
    return format && (strcmp(format, "zip") == 0 || strcmp(format, "gzip") == 0 ||
                      strcmp(format, "raw") == 0);
}
