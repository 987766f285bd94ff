#pragma once

#include <stop_token>

#include "coordinator/access/subject_access_reviews.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/validation.h"

namespace vmferry::imports {

// Whether the authors of the import's namespace may read what it names in others. Errors: those of
// the reviews.
Result<ReferenceRights> reference_rights(access::SubjectAccessReviews& reviews,
                                         const api::VirtualMachineImport& import,
                                         std::stop_token stop);

// The same of the NetworkAttachmentDefinitions that its mappings, merged, send NICs to.
Result<void> add_network_rights(access::SubjectAccessReviews& reviews, const std::string& import_ns,
                                const api::Mappings& mappings, ReferenceRights& rights,
                                std::stop_token stop);

}  // namespace vmferry::imports
