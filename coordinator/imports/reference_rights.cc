#include "coordinator/imports/reference_rights.h"

namespace vmferry::imports {

Result<ReferenceRights> reference_rights(access::SubjectAccessReviews& reviews,
                                         const api::VirtualMachineImport& import,
                                         std::stop_token stop) {
  const std::string& ns = import.object.ns();
  ReferenceRights rights;
  rights.author = access::author_of(ns);
  const auto ask = [&](const kube::ResourceType& type, const api::ObjectIdentifier& id,
                       Right& right) -> Result<void> {
    if (!id.ns || id.ns->empty() || *id.ns == ns || id.name.empty()) return {};
    const bool may = TRY(reviews.may_read(ns, type, {*id.ns, id.name}, stop));
    right = may ? Right::Granted : Right::Denied;
    return {};
  };
  TRY(ask(kube::types::kSecret, import.spec.credentials_secret, rights.secret));
  if (import.spec.resource_mapping) {
    TRY(ask(kube::types::kResourceMapping, *import.spec.resource_mapping, rights.mapping));
  }
  return rights;
}

}  // namespace vmferry::imports
