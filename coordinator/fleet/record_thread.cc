#include "coordinator/fleet/record_thread.h"

#include <exception>
#include <utility>

namespace vmferry {

RecordThread::RecordThread(JobRecords& records, Mailbox<Answer>& answers)
    : records_(records), answers_(answers), thread_([this](std::stop_token stop) { run(stop); }) {}

RecordThread::~RecordThread() {
  thread_.request_stop();
  thread_.join();
}

void RecordThread::put(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void RecordThread::run(std::stop_token stop) {
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return !tasks_.empty(); });
      if (tasks_.empty()) return;  // stopped, and nothing is left
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    Answer answer;
    answer.removal = std::holds_alternative<JobId>(task);
    answer.job = answer.removal ? std::get<JobId>(task) : std::get<JobRecord>(task).job;
    try {
      // Not stopped half-way: each call is bounded, and what is saved counts.
      answer.result = answer.removal ? records_.remove(answer.job, {})
                                     : records_.save(std::get<JobRecord>(task), {});
    } catch (const std::exception& failure) {
      answer.result = make_error(ErrorKind::Internal, "storing a record: {}", failure.what());
    }
    answers_.put(std::move(answer));
  }
}

}  // namespace vmferry
