import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicBoolean;

/** Callers with the Java client of docs/clients.md. What they hold is in the book of restarts.py: each line is answered once it
 *  stands there. */
public class Restarts {
    private static final Map<String, CountDownLatch> WAITING = new ConcurrentHashMap<>();
    private static final AtomicBoolean OVER = new AtomicBoolean();

    private static void note(String line, String answer) throws InterruptedException {
        var stands = new CountDownLatch(1);
        WAITING.put(answer, stands);
        System.out.println(line);
        stands.await();
    }

    private static void caller(String who, Allotd allotd, int ttl) {
        var random = ThreadLocalRandom.current();
        String number = "none";
        try {
            while (!OVER.get()) {
                Allotd.Lease lease = allotd.lease(ttl, 60);
                number = Long.toString(lease.number());
                note("+ " + number + " " + who, number);
                Thread.sleep(random.nextInt(200));
                if (random.nextBoolean()) {
                    lease = allotd.renew(lease, ttl);
                    Thread.sleep(random.nextInt(100));
                }
                note("- " + number, "-" + number);
                allotd.giveBack(lease, "talked");
            }
        } catch (Exception failure) {
            System.out.println("! " + who + " lost " + number + ": " + failure);
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        var allotd = new Allotd(arguments[0], "p", null);
        int callers = Integer.parseInt(arguments[1]), ttl = Integer.parseInt(arguments[2]);
        var reader = new Thread(() -> {
            for (var lines = new Scanner(System.in); lines.hasNextLine(); ) {
                String line = lines.nextLine();
                if (line.equals("stop")) OVER.set(true);
                else Optional.ofNullable(WAITING.remove(line)).ifPresent(CountDownLatch::countDown);
            }
        });
        reader.setDaemon(true);
        reader.start();
        var all = new ArrayList<Thread>();
        for (int index = 0; index < callers; index++) {
            String who = "java-" + index;
            all.add(new Thread(() -> caller(who, allotd, ttl)));
        }
        all.forEach(Thread::start);
        for (Thread caller : all) caller.join();
        System.exit(0);
    }
}
