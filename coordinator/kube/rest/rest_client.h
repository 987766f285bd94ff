#pragma once

#include <chrono>

#include "common/log.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/rest/api_client.h"
#include "coordinator/kube/rest/discovery.h"
#include "coordinator/kube/writer.h"

namespace vmferry::kube {

// kube::Reader and kube::Writer over the Kubernetes REST API. Objects come without
// metadata.managedFields, which nobody here reads and which would be most of a cache's memory.
// list() pages; a listing that expires between two pages (410) is asked again in one piece. A watch
// continues by itself over closed connections and restarts of the server (watch.h). Thread-safe.
class RestClient final : public Reader, public Writer {
 public:
  // `timeout`: of every request but listings and watches.
  RestClient(ApiClient& api, const Logger& log,
             std::chrono::milliseconds timeout = std::chrono::seconds(30))
      : api_(api), log_(log), timeout_(timeout), discovery_(api) {}

  Discovery& discovery() { return discovery_; }

  Result<Object> get(const ResourceType& type, const ObjectKey& key, std::stop_token stop) override;
  Result<ObjectList> list(const ResourceType& type, const ListOptions& options,
                          std::stop_token stop) override;
  Result<std::unique_ptr<Watch>> watch(const ResourceType& type, const ListOptions& options,
                                       const std::string& resource_version,
                                       std::stop_token stop) override;

  // Of a kind that is not served, or not in this version: VMF-K8S-API-MISSING says what is.
  // Of a review kind (types::kTokenReview and the like) the answer has its status.
  Result<Object> create(const ResourceType& type, const Object& object, const WriteOptions& options,
                        std::stop_token stop) override;
  Result<Object> patch(const ResourceType& type, const ObjectKey& key,
                       const nlohmann::json& merge_patch, const WriteOptions& options,
                       std::stop_token stop) override;
  Result<Object> patch_status(const ResourceType& type, const ObjectKey& key,
                              const nlohmann::json& merge_patch, std::stop_token stop) override;
  Result<void> remove(const ResourceType& type, const ObjectKey& key, Propagation propagation,
                      const Preconditions& preconditions, std::stop_token stop) override;

  // How many objects a page has; for tests.
  void set_page_size(int objects) { page_size_ = objects; }

 private:
  Result<Object> send_patch(const ResourceType& type, const ObjectKey& key, const std::string& path,
                            const nlohmann::json& body, std::stop_token stop);
  Error explained(Error error, const ResourceType& type, std::stop_token stop);

  ApiClient& api_;
  Logger log_;
  const std::chrono::milliseconds timeout_;
  int page_size_ = 500;
  Discovery discovery_;
};

}  // namespace vmferry::kube
