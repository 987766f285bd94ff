#include "coordinator/kube/rest/rest_client.h"

#include "common/catalogue.h"
#include "coordinator/kube/rest/paths.h"
#include "coordinator/kube/rest/watch.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

constexpr const char* kFieldManager = "vmferry";
constexpr std::chrono::seconds kListTimeout{60};
constexpr std::size_t kMaxListBytes = 512u << 20;

Result<void> check_key(const ResourceType& type, const ObjectKey& key) {
  if (type.namespaced && key.ns.empty()) {
    return make_error(ErrorKind::InvalidArgument, "metadata.namespace: is missing for a {}",
                      type.kind);
  }
  if (!type.namespaced && !key.ns.empty()) {
    return make_error(ErrorKind::InvalidArgument,
                      "metadata.namespace: must be absent: a {} has none", type.kind);
  }
  if (key.name.empty()) {
    return make_error(ErrorKind::InvalidArgument, "metadata.name: is missing");
  }
  // As parts of a path these would lead elsewhere.
  for (const std::string& part : {key.ns, key.name}) {
    if (part == "." || part == "..") {
      return make_error(ErrorKind::InvalidArgument, "metadata: '{}' is not a name", part);
    }
  }
  return {};
}

// Items of a list do not repeat what they are.
Object object_of(const ResourceType& type, json value) {
  if (!value.is_object()) value = json::object();
  if (!value.contains("apiVersion")) value["apiVersion"] = type.api_version;
  if (!value.contains("kind")) value["kind"] = type.kind;
  return without_managed_fields(Object(std::move(value)));
}

std::string text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

const json& metadata_of(const json& list) {
  static const json none = json::object();
  const auto found = list.find("metadata");
  return found != list.end() && found->is_object() ? *found : none;
}

std::string member_text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const char* policy(Propagation propagation) {
  switch (propagation) {
    case Propagation::Foreground:
      return "Foreground";
    case Propagation::Orphan:
      return "Orphan";
    case Propagation::Background:
      break;
  }
  return "Background";
}

}  // namespace

Result<Object> RestClient::get(const ResourceType& type, const ObjectKey& key,
                               std::stop_token stop) {
  TRY(check_key(type, key));
  ApiRequest request;
  request.timeout = timeout_;
  request.path = object_path(type, key);
  return object_of(type, TRY(api_.call(request, stop)));
}

Result<ObjectList> RestClient::list(const ResourceType& type, const ListOptions& options,
                                    std::stop_token stop) {
  if (options.ns == "." || options.ns == "..") {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a namespace", options.ns);
  }
  std::string limit = std::to_string(page_size_);
  std::string token;
  ObjectList all;
  while (true) {
    ApiRequest request;
    request.timeout = kListTimeout;
    request.max_response_bytes = kMaxListBytes;
    request.path =
        collection_path(type, options.ns) +
        query({{"labelSelector", options.label_selector}, {"limit", limit}, {"continue", token}});
    Result<json> page = api_.call(request, stop);
    if (!page && page.error().kind() == ErrorKind::Aborted && !token.empty()) {
      // The snapshot that the pages come from is gone (410): all of it at once, from the beginning.
      log_.debug("listing expired between pages", {{"kind", type.kind}});
      token.clear();
      limit.clear();
      all.items.clear();
      continue;
    }
    if (!page) return std::move(page).error();
    for (json& item : (*page)["items"]) all.items.push_back(object_of(type, std::move(item)));
    all.resource_version = member_text(metadata_of(*page), "resourceVersion");
    token = member_text(metadata_of(*page), "continue");
    if (token.empty()) return all;
  }
}

Result<std::unique_ptr<Watch>> RestClient::watch(const ResourceType& type,
                                                 const ListOptions& options,
                                                 const std::string& resource_version,
                                                 std::stop_token stop) {
  auto watch = std::make_unique<RestWatch>(api_, type, options, resource_version, log_);
  TRY(watch->begin(stop));
  return std::unique_ptr<Watch>(std::move(watch));
}

Result<Object> RestClient::create(const ResourceType& type, const Object& object,
                                  const WriteOptions& options, std::stop_token stop) {
  // The name may yet be generated.
  TRY(check_key(type, {object.ns(), object.name().empty() ? "generated" : object.name()}));
  json body = object.json();
  body["apiVersion"] = type.api_version;
  body["kind"] = type.kind;
  body.erase("status");
  if (body.contains("metadata") && body["metadata"].is_object()) {
    body["metadata"].erase("resourceVersion");  // refused in a creation
    body["metadata"].erase("uid");
  }
  ApiRequest request;
  request.timeout = timeout_;
  request.method = "POST";
  request.path = collection_path(type, object.ns()) +
                 query({{"fieldManager", kFieldManager}, {"dryRun", options.dry_run ? "All" : ""}});
  request.body = text(body);
  Result<json> made = api_.call(request, stop);
  if (!made) return explained(std::move(made).error(), type, stop);
  return object_of(type, *std::move(made));
}

// "The server could not find the requested resource" does not say which, nor what it has instead.
Error RestClient::explained(Error error, const ResourceType& type, std::stop_token stop) {
  if (error.code() != code::kApiMissing) return error;
  discovery_.forget();
  const auto served = discovery_.require(type, stop);
  return served || served.error().code() != code::kApiMissing ? error : served.error();
}

Result<Object> RestClient::send_patch(const ResourceType& type, const ObjectKey& key,
                                      const std::string& path, const json& body,
                                      std::stop_token stop) {
  TRY(check_key(type, key));
  ApiRequest request;
  request.timeout = timeout_;
  request.method = "PATCH";
  request.path = path;
  request.content_type = "application/merge-patch+json";
  request.body = text(body);
  Result<json> patched = api_.call(request, stop);
  if (!patched) return explained(std::move(patched).error(), type, stop);
  return object_of(type, *std::move(patched));
}

Result<Object> RestClient::patch(const ResourceType& type, const ObjectKey& key,
                                 const json& merge_patch, const WriteOptions& options,
                                 std::stop_token stop) {
  json body = merge_patch;
  if (body.is_object()) body.erase("status");
  const std::string path =
      object_path(type, key) +
      query({{"fieldManager", kFieldManager}, {"dryRun", options.dry_run ? "All" : ""}});
  return send_patch(type, key, path, body, stop);
}

Result<Object> RestClient::patch_status(const ResourceType& type, const ObjectKey& key,
                                        const json& merge_patch, std::stop_token stop) {
  json body = json::object();
  if (merge_patch.is_object()) {
    if (merge_patch.contains("status")) body["status"] = merge_patch.at("status");
    const std::string version = Object(merge_patch).resource_version();
    if (!version.empty()) body["metadata"]["resourceVersion"] = version;
  }
  const std::string path =
      object_path(type, key) + "/status" + query({{"fieldManager", kFieldManager}});
  return send_patch(type, key, path, body, stop);
}

Result<void> RestClient::remove(const ResourceType& type, const ObjectKey& key,
                                Propagation propagation, const Preconditions& preconditions,
                                std::stop_token stop) {
  TRY(check_key(type, key));
  json options{
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", policy(propagation)}};
  if (!preconditions.uid.empty()) options["preconditions"]["uid"] = preconditions.uid;
  if (!preconditions.resource_version.empty()) {
    options["preconditions"]["resourceVersion"] = preconditions.resource_version;
  }
  ApiRequest request;
  request.timeout = timeout_;
  request.method = "DELETE";
  request.path = object_path(type, key);
  request.body = text(options);
  TRY(api_.call(request, stop));
  return {};
}

}  // namespace vmferry::kube
