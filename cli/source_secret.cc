#include "cli/source_secret.h"

#include <unistd.h>

#include <iostream>

#include "cli/manifest_files.h"
#include "common/catalogue.h"
#include "coordinator/api/credentials.h"
#include "coordinator/api/manifest.h"

namespace vmferry::cli {
namespace {

bool has_key(const kube::Object& secret, const char* key) {
  for (const char* section : {"data", "stringData"}) {
    const auto found = secret.json().find(section);
    if (found != secret.json().end() && found->is_object() && found->contains(key)) return true;
  }
  return false;
}

bool is_file(const std::string& text) {
  return text == "-" || text.find('/') != std::string::npos || text.ends_with(".yaml") ||
         text.ends_with(".yml") || text.ends_with(".json") || ::access(text.c_str(), F_OK) == 0;
}

Result<kube::Object> secret_of_file(Context& context, const std::string& path) {
  std::vector<kube::Object> secrets;
  for (const ManifestFile& file : TRY(read_manifest_files({path}, std::cin))) {
    for (api::ManifestObject& manifest :
         TRY(api::parse_manifests(file.text, file.name, context.ns))) {
      if (manifest.object.kind() != kube::types::kSecret.kind) continue;
      if (!has_key(manifest.object, "vmware") && !has_key(manifest.object, "ovirt")) continue;
      secrets.push_back(std::move(manifest.object));
    }
  }
  if (secrets.size() == 1) return std::move(secrets.front());
  if (secrets.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                       "{}: no Secret with a key 'vmware' or 'ovirt' in it", path);
  }
  std::string names;
  for (const kube::Object& secret : secrets) {
    names += (names.empty() ? "'" : ", '") + secret.key().to_string() + "'";
  }
  return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                     "{}: several Secrets in it ({}); name a file with one", path, names);
}

Result<kube::Object> secret_of_store(Context& context, const std::string& name) {
  const auto store = TRY(context.open_store());
  const kube::ObjectKey key{context.ns, name};
  const auto secret = TRY(kube::get_if_exists(*store, kube::types::kSecret, key, context.stop));
  if (secret) return *secret;
  return coded_error(ErrorKind::NotFound, code::kSecretMissing,
                     "there is neither a file '{}' nor a secret '{}' in this home", name,
                     key.to_string());
}

}  // namespace

Result<ProviderCredentials> credentials_of(const kube::Object& secret) {
  const bool vmware = has_key(secret, "vmware");
  const bool ovirt = has_key(secret, "ovirt");
  if (vmware == ovirt) {
    return coded_error(ErrorKind::InvalidArgument, code::kSecretInvalid,
                       "secret '{}' has {} of the keys 'vmware' and 'ovirt', it must have one",
                       secret.key().to_string(), vmware ? "both" : "none");
  }
  return api::parse_credentials(vmware ? ProviderKind::Vmware : ProviderKind::Ovirt, secret);
}

Result<ProviderCredentials> load_source_secret(Context& context, const std::string& file_or_name) {
  const kube::Object secret = is_file(file_or_name) ? TRY(secret_of_file(context, file_or_name))
                                                    : TRY(secret_of_store(context, file_or_name));
  return credentials_of(secret);
}

}  // namespace vmferry::cli
