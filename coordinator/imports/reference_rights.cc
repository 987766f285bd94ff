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

Result<void> add_network_rights(access::SubjectAccessReviews& reviews, const std::string& import_ns,
                                const api::Mappings& mappings, ReferenceRights& rights,
                                std::stop_token stop) {
  rights.author = access::author_of(import_ns);
  rights.denied_networks.clear();
  if (!mappings.networks) return {};
  for (const api::NetworkMappingItem& item : *mappings.networks) {
    if (item.type != "multus" || item.target.name.empty()) continue;
    const kube::ObjectKey key{item.target.ns_or(import_ns), item.target.name};
    if (key.ns == import_ns) continue;
    const auto& type = kube::types::kNetworkAttachmentDefinition;
    if (!TRY(reviews.may_read(import_ns, type, key, stop))) rights.denied_networks.insert(key);
  }
  return {};
}

}  // namespace vmferry::imports
