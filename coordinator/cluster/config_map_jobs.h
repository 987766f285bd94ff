#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "common/log.h"
#include "coordinator/fleet/job_records.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

// The fleet's records as objects: one ConfigMap for each import, "vmferry-jobs-<import uid>", in
// the coordinator's namespace, with one key for each disk. They hold no secret.
//
// They are a fence as well. Every ConfigMap carries the mark of the leader that wrote it last: its
// term, and its name, for two of a term there may be when somebody removes the Lease. A new leader
// marks all before it believes any; every write names the version that it replaces. So a
// predecessor that woke up late cannot store an attempt any more, and an attempt that is not stored
// is not assigned. Who finds the mark of another there calls `deposed`.
class ConfigMapJobs final : public JobRecords {
 public:
  // `leader`: the name of this process among all coordinators, with that of no predecessor.
  ConfigMapJobs(kube::Reader& reader, kube::Writer& writer, std::string ns, std::int64_t term,
                std::string leader, std::function<void(std::string_view why)> deposed,
                const Logger& log);

  Result<std::vector<JobRecord>> load(std::stop_token stop) override;
  Result<void> save(const JobRecord& record, std::stop_token stop) override;
  Result<void> remove(const JobId& job, std::stop_token stop) override;

 private:
  struct Known {
    std::string uid;
    std::string version;
    std::set<std::string> keys;
  };
  Result<std::vector<JobRecord>> load_once(std::stop_token stop);
  Result<void> claim(const kube::Object& object, std::stop_token stop);
  Result<void> make(const std::string& name, const nlohmann::json& data, std::stop_token stop);
  // After a conflict: reads what is there. Whether it is still ours to write.
  Result<void> look_again(const std::string& name, std::stop_token stop);
  void remember(const kube::Object& object);
  std::string mark() const;

  kube::Reader& reader_;
  kube::Writer& writer_;
  const std::string ns_;
  std::int64_t term_;
  const std::string leader_;
  const std::function<void(std::string_view)> deposed_;
  const Logger log_;
  std::map<std::string, Known> known_;  // by name
};

}  // namespace vmferry::cluster
