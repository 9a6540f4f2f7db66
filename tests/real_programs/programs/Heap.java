import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.IntStream;

class Heap {
    public static void main(String[] arguments) throws Exception {
        Map<Integer, byte[]> held = new HashMap<>();
        for (int i = 0; i < 400000; i++) {
            byte[] block = new byte[2000];
            block[i % 2000] = (byte) i;
            held.put(i, block);
        }
        for (int i = 0; i < 400000; i++) {
            if (held.get(i)[i % 2000] != (byte) i) System.exit(1);
        }
        long sum = IntStream.range(0, 3000000).parallel().mapToLong(i -> i).sum();
        Thread[] threads = new Thread[50];
        for (int i = 0; i < 50; i++) {
            threads[i] = new Thread(() -> Arrays.fill(new int[100000], 7));
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        System.exit(sum == 4499998500000L ? 0 : 2);
    }
}
