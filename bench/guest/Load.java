// SPDX-License-Identifier: Apache-2.0
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

/** A JVM under load: collectors, threads, and compiled code that must say what its interpreter says (-Xint). */
public class Load {
	static long integers(int n) {
		long a = 1, b = 0;
		for (int i = 0; i < n; i++) { a = a * 6364136223846793005L + 1442695040888963407L; b ^= a >>> (i & 31); }
		return b;
	}

	static double floats(int n) {
		double x = 0.5, s = 0;
		for (int i = 0; i < n; i++) { x = 3.9 * x * (1 - x); s += Math.sqrt(x) / (1 + x); }
		return s;
	}

	static int vectors(int n) {
		int[] a = new int[n], b = new int[n];
		for (int i = 0; i < n; i++) { a[i] = i * 7; b[i] = i ^ 0x55; }
		int s = 0;
		for (int round = 0; round < 10; round++)
			for (int i = 0; i < n; i++) { a[i] += b[i] * 3; s += a[i]; }
		return s;
	}

	static long objects(int n) {
		Map<String, List<Integer>> m = new TreeMap<>();
		for (int i = 0; i < n; i++) m.computeIfAbsent("k" + i % 499, k -> new ArrayList<>()).add(i);
		return m.entrySet().stream().mapToLong(e -> e.getKey().hashCode() ^ e.getValue().stream().mapToLong(v -> v).sum())
			.reduce(0, (p, q) -> p * 31 + q);
	}

	static int refused(int n) {
		int count = 0, zero = n - n;
		Object[] few = new Object[4];
		for (int i = 0; i < n; i++) {
			try {
				if (i % 3 == 0) few[i % 8] = i;
				else if (i % 3 == 1) count += ((String) null).length();
				else count += i / zero;
			} catch (ArrayIndexOutOfBoundsException | NullPointerException | ArithmeticException e) { count++; }
		}
		return count;
	}

	static long threads(int n) throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(4);
		ConcurrentHashMap<Integer, Long> sums = new ConcurrentHashMap<>();
		List<Future<?>> jobs = new ArrayList<>();
		for (int t = 0; t < 4; t++) {
			final int me = t;
			jobs.add(pool.submit(() -> { for (int i = 0; i < n; i++) sums.merge(i % 97, (long) me + i, Long::sum); }));
		}
		for (Future<?> j : jobs) j.get();
		pool.shutdown();
		return sums.values().stream().mapToLong(v -> v).sum();
	}

	public static void main(String[] args) throws Exception {
		for (int round = 0; round < 3; round++)
			System.out.println(integers(200000) + " " + floats(50000) + " " + vectors(3000) + " " + objects(20000) + " "
				+ refused(3000) + " " + threads(3000));
	}
}
