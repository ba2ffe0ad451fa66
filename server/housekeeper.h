#ifndef KLDIV_SERVER_HOUSEKEEPER_H_
#define KLDIV_SERVER_HOUSEKEEPER_H_

#include <chrono>
#include <functional>
#include <thread>

#include "server/base/mutex.h"

namespace kldiv::server {

// Calls a function every 100 ms on a thread of its own, until it is destroyed.
class Housekeeper {
 public:
  explicit Housekeeper(std::function<void(std::chrono::steady_clock::time_point now)> work);
  ~Housekeeper();

  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

 private:
  void Loop();

  const std::function<void(std::chrono::steady_clock::time_point)> work_;
  Mutex mu_;
  CondVar wake_;
  bool stop_ KLDIV_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_HOUSEKEEPER_H_
