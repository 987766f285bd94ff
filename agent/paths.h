#pragma once

#include <string>

#include "common/id.h"

// The agent's state directory:
//
//   <state>/lock                 flock: one process at a time, ever
//   <state>/scratch/             sockets and password files of running sources; emptied at start
//   <state>/jobs/<job>/journal   what is durable on the target; kept until the job is forgotten, so
//                                that a restarted agent resumes without the coordinator's copy
namespace vmferry {

struct AgentPaths {
  std::string state;

  std::string lock() const { return state + "/lock"; }
  std::string scratch() const { return state + "/scratch"; }
  std::string jobs() const { return state + "/jobs"; }
  std::string job(const JobId& job) const;
  std::string journal(const JobId& job) const { return this->job(job) + "/journal"; }
};

}  // namespace vmferry
