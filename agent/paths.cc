#include "agent/paths.h"

#include "common/file_name.h"

namespace vmferry {

std::string AgentPaths::job(const JobId& job) const {
  return jobs() + "/" + safe_file_name(job.value);
}

}  // namespace vmferry
